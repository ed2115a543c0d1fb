"""Looking: what the router believed, why it spent, and what would have changed its mind; widgets and a report over it.

Pure functions come first (`solutions`, `flips`, `runs`), drawings stand on them. There is no second filter and no
second policy here: every number comes from the policy's own router, or from what the run recorded.
"""
