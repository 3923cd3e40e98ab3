"""Operations: what runs RedFire, and what it runs on."""
