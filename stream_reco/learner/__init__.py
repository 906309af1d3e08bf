"""What learns in both wirings: events into signals and histories, labelled examples into training steps."""
