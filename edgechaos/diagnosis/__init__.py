"""Other people's networks: where their layers stand, how they move, and which weight decay to choose."""
