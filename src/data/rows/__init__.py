"""What a row is: its text, its label or tags, and the record that holds both."""
