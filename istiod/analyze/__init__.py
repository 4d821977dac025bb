"""What is wrong with objects that are valid each by itself: references, conflicts, and what fails without a word."""
