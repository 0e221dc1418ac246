"""Image models: torchvision, timm, open_clip, CORnet-S, SLIP, and panels of them."""
