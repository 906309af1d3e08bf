"""A scorer that follows a trainer, and what it knows of users."""
