"""The model: network, criterion and post-processor, and the shell that joins them."""
