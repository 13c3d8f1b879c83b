"""Changes of a schema in two revisions, expand and contract, with two versions of the application alive in between."""
