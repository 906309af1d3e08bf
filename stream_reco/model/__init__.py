"""Features, the ranker and the towers: how likely it is that this user acts on this item now."""
