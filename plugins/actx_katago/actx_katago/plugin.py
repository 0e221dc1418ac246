"""What actx-katago offers: nothing yet."""
