"""What this installation and this machine can do, as text for a bug report."""
