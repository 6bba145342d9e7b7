"""Integrations with other packages. Nothing else imports these modules: use those you want."""
