"""The bench: every strategy of the field on the same problems, drafts and scores, measured with intervals."""
