"""Drawings of furniture and things indoors, in the language of ``glyphs_drawing.py``."""

ART = """
chair 58x100
  wood = wood brown umber ochre red
  seat = red blue green cream teal
  line wood- 5 14 58 13 92
  line wood- 5 48 58 49 92
  line wood 6 6 4 6 97
  line wood 6 52 60 54 97
  line wood 6 6 4 44 4
  line wood 6 44 4 44 56
  line wood 4 6 18 44 18
  line wood 4 6 32 44 32
  poly seat 2 52 46 52 58 62 4 62
  box wood- 3 61 57 66 2

chair 66x100
  cloth = charcoal blue red teal slate orange
  line steel 5 33 62 33 84
  line charcoal 5 33 84 8 92
  line charcoal 5 33 84 58 92
  line charcoal 5 33 84 33 94
  disc black 8 95 5
  disc black 58 95 5
  disc black 33 95 5
  box cloth 12 0 54 46 12
  line cloth- 5 33 40 33 56
  line charcoal 5 4 42 4 56
  line charcoal 5 62 42 62 56
  box cloth- 4 52 62 66 6

couch 100x52
  cloth = red blue teal slate brown green purple sand
  box wood 10 44 18 52 1
  box wood 82 44 90 52 1
  box cloth 10 0 90 34 9
  line cloth- 1.5 50 4 50 26
  box cloth+ 16 24 50 37 5
  box cloth+ 50 24 84 37 5
  box cloth- 8 35 92 47 4
  box cloth 0 16 18 47 8
  box cloth 82 16 100 47 8
  box yellow 20 13 34 27 3

potted plant 78x100
  leaf = green forest olive
  pot = crust orange brown white teal
  curve leaf- 3 39 70 30 50 14 44
  curve leaf- 3 39 70 48 50 64 42
  blob leaf 38 60 28 34 34 8 40 2 48 14 48 36
  blob leaf- 38 66 22 62 4 44 2 30 14 32 30 46
  blob leaf- 42 66 56 62 74 44 77 28 64 32 50 44
  blob leaf+ 36 64 20 42 14 20 18 12 28 22 36 40
  blob leaf+ 44 64 60 42 64 20 60 12 52 20 44 40
  line leaf- 1.5 40 10 40 60
  poly pot 16 72 62 72 56 97 52 100 26 100 22 97
  box pot- 12 64 66 75 3

bed 100x58
  frame = wood brown umber white
  cover = blue red teal purple sand green pink
  box frame 0 2 9 58 3
  box frame 91 26 100 58 3
  box frame- 4 42 96 50 2
  box snow 8 28 94 44 5
  blob white 10 20 16 15 32 17 36 26 30 31 12 30
  blob cover 36 26 60 22 92 26 94 34 94 45 40 45 34 36
  poly cover+ 36 27 46 25 48 45 40 45 35 36

bed 100x84
  frame = wood brown umber white
  cover = blue red teal purple sand green pink
  box frame 10 0 90 44 8
  box frame- 4 72 12 84 2
  box frame- 88 72 96 84 2
  poly snow 12 28 88 28 98 60 2 60
  box white 18 20 46 36 6
  box white 54 20 82 36 6
  poly cover 8 42 92 42 100 62 100 78 0 78 0 62
  poly cover+ 8 42 92 42 94 49 6 49
  box cover- 0 64 100 78 4

dining table 100x52
  wood = wood brown umber ochre cream
  line wood- 6 20 22 24 50
  line wood- 6 80 22 76 50
  poly wood 14 4 86 4 100 18 0 18
  box wood- 0 17 100 24 2
  box wood 3 22 11 56 2
  box wood 89 22 97 56 2
  oval white 32 11 12 4
  oval white 68 11 12 4
  oval silver 32 11 7 2.2
  oval silver 68 11 7 2.2

dining table 100x62
  cloth = white red sky cream
  wood = wood brown umber
  box wood 46 30 54 56 1
  poly wood 26 62 46 50 54 50 74 62 66 62 50 55 34 62
  box cloth- 0 14 100 28 12
  oval cloth 50 14 50 14
  oval white 26 13 13 4.5
  oval white 74 13 13 4.5
  oval silver 26 13 8 2.5
  oval silver 74 13 8 2.5
  line green 3 50 12 50 2
  disc red 50 4 4.5

toilet 74x100
  china = white snow cream
  box china- 4 2 36 44 4
  box china 0 0 40 8 3
  box silver 12 12 22 17 2
  poly china- 24 60 56 60 50 84 56 100 20 100 24 84
  blob china 6 46 40 42 72 46 73 54 62 70 44 78 26 76 12 64
  oval china- 40 47 34 6
  oval glass 42 47 25 3.6
  blob china 34 12 42 8 46 26 44 42 36 44

toilet 64x100
  china = white snow cream
  box china- 16 80 48 100 6
  box china 6 0 58 36 6
  box china- 4 0 60 8 3
  box silver 28 13 36 19 2
  oval china- 32 64 31 31
  oval china 32 62 31 31
  oval china-- 32 62 21 22
  oval glass 32 64 18 18

book 100x78
  cover = red blue green brown purple teal
  poly cover 0 12 100 12 100 76 54 76 50 78 46 76 0 76
  blob cream 6 8 28 3 44 6 50 12 50 72 40 67 22 67 6 70
  blob cream 94 8 72 3 56 6 50 12 50 72 60 67 78 67 94 70
  line tan 2 50 12 50 71
  line grey 2 14 20 42 21
  line grey 2 14 31 42 32
  line grey 2 14 42 42 43
  line grey 2 14 53 36 54
  line grey 2 58 21 86 20
  line grey 2 58 32 86 31
  line grey 2 58 43 86 42
  line grey 2 58 54 80 53

book 74x100
  cover = red blue green brown purple teal orange
  box cover- 0 0 72 100 7
  box cream 8 82 74 95 3
  line silver 1.5 12 87 74 87
  line silver 1.5 12 91 74 91
  box cover 6 0 74 84 5
  box cover- 6 0 14 84 1
  box gold 24 18 64 24 1
  box gold 30 30 58 34 1
  disc gold 44 58 9

vase 50x100
  china = blue teal white crimson sand purple
  band = white gold navy orange
  box china- 8 0 42 6 3
  blob china 13 2 37 2 33 20 44 38 49 60 40 86 34 99 16 99 10 86 1 60 6 38 17 20
  poly band 5 46 45 46 48 52 2 52
  poly band 2 66 48 66 46 71 4 71
  disc band 12 59 3
  disc band 25 59 3
  disc band 38 59 3
  line china+ 3 15 40 11 52
  line band 3 18 12 32 12

vase 60x100
  china = blue teal white crimson sand purple
  bloom = red pink yellow purple orange
  line green 3 30 60 14 20
  line green 3 30 60 30 14
  line green 3 30 60 47 22
  blob forest 26 50 14 46 6 38 18 38
  blob forest 34 50 46 46 55 40 43 38
  disc bloom 12 18 11
  disc bloom- 30 11 11
  disc bloom 48 19 11
  disc amber 12 18 4
  disc amber 30 11 4
  disc amber 48 19 4
  blob china 20 48 40 48 37 58 47 74 44 92 36 100 24 100 16 92 13 74 23 58
  line china+ 3 20 70 19 80

scissors 78x100
  grip = red orange blue black purple green
  poly silver 12 0 19 2 44 56 36 62
  poly steel 66 0 59 2 34 56 42 62
  line grip 7 36 58 22 70
  line grip 7 42 58 56 70
  ring grip 7 17 82 16 18
  ring grip 7 61 82 16 18
  disc slate 39 54 4

teddy bear 80x100
  fur = ochre brown tan wood sand
  ribbon = red blue pink green
  disc fur 16 14 12
  disc fur 64 14 12
  disc fur+ 16 14 7
  disc fur+ 64 14 7
  oval fur 10 58 10 16
  oval fur 70 58 10 16
  oval fur 20 87 16 13
  oval fur 60 87 16 13
  oval fur 40 69 26 27
  oval fur+ 40 70 16 18
  oval fur+ 18 89 9 8
  oval fur+ 62 89 9 8
  oval fur 40 27 29 25
  oval fur+ 40 35 14 11
  disc black 28 23 3.6
  disc black 52 23 3.6
  oval black 40 30 5 3.6
  line black 1.6 40 33 40 38
  poly ribbon 40 52 25 46 25 59
  poly ribbon 40 52 55 46 55 59
  disc ribbon- 40 52 4

toothbrush 100x34
  grip = blue red green purple teal pink
  bristle = white sky snow
  poly bristle 70 0 75 1 76 12 70 12
  poly bristle 77 0 82 1 83 12 77 12
  poly bristle 84 0 89 1 90 12 84 12
  poly sky 91 1 96 2 97 12 91 12
  line grip 6 48 20 66 15 97 14
  curve grip 10 5 29 24 26 48 20
  curve white 3 10 28 24 26 38 22
"""
