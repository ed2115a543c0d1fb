"""What a router believed, why it spent and what would have changed its mind: pure functions, and drawings of them."""
