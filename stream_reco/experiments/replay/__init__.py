"""A log through the loop, predicted first and learned from after."""
