"""Bridges to other software, each imported only on demand."""
