"""Studies: pipelines of their own over the pipeline's stages, each with one question, a figure and a table."""
