"""The documentation as a site: what mkdocs.yml cannot express. See docs/writing.md."""
