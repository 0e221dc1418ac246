"""A KataGo network as a model of actx: taps, heads, logit lens, symmetries."""
