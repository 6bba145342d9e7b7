"""A small real site: vitals, an inbox, and listeners that are away."""
