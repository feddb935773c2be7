"""What a simulated book did: positions, round trips, figures, and where its profit came from."""
