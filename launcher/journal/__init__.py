"""The journal of a run, its events, and the one state that is folded from them."""
