"""What a label is, and the rules by which an impression gets one."""
