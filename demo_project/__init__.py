"""A small demo site: the load of the machine, an inbox, and listeners that are offline."""
