"""actx-katago: KataGo networks and Go positions for actx; declares nothing yet."""
