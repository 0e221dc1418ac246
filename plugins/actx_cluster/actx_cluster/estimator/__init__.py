"""Any scikit-learn class as an analyzer."""
