"""Tables of replicas, and the precision that they keep rows in."""
