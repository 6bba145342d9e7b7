"""The documentation as a site: what mkdocs.yml cannot express. See docs/contributing of pages."""
