"""Models known by name: what they are, where they lie, and how they get here. Without torch."""
