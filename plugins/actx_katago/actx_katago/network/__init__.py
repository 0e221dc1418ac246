"""KataGo networks: read a file, run it as a torch module, change it, write it."""
