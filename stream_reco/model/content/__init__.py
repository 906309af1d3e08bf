"""A linear mixed model over what is said of users and items, beside whatever model ranks."""
