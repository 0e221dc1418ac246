"""What actx-hf offers: nothing yet."""
