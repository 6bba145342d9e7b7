"""What more open streams of one process cost: from 100 to 10,000."""
