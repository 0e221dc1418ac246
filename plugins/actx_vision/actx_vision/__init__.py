"""actx-vision: torchvision and timm models and folders of images for actx."""
