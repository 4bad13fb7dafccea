"""The kernel ABI: parts compiled from C, and what is refused."""
