"""What labels cost that come late."""
