"""`stream-reco reproduce shop`: ways of recommending in worlds where people see only what is recommended."""
