"""`stream-reco reproduce handover`: how what is said of items and people gives way to what they did."""
