"""What each ablation varies."""
