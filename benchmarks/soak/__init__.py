"""Memory, CPU and delays of one server over half an hour of steady load."""
