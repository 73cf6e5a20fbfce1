"""Drawings of animals, all heading right, in the language of ``glyphs_drawing.py``."""

ART = """
bird 100x76
  coat = blue red brown slate yellow teal green
  belly = cream orange white
  poly coat- 0 52 24 38 34 50 6 62
  line amber 3 46 62 44 74 52 75
  line amber 3 56 62 56 74 64 75
  blob coat 20 42 40 28 60 14 70 3 84 4 90 16 86 34 76 54 56 65 34 58
  blob belly 88 24 86 38 74 54 56 64 46 58 66 46 76 32
  poly amber 88 12 100 19 88 23
  blob coat- 22 46 38 32 60 32 62 42 46 54 30 56
  disc black 80 14 3.2
  disc white 81 13 1.1

bird 100x80
  coat = white slate snow sky
  poly coat- 2 52 26 44 26 56 6 64
  blob coat 16 46 40 40 66 36 84 36 90 44 80 54 56 60 30 56
  blob coat- 38 46 40 24 56 2 66 4 70 26 64 46
  blob coat 34 50 30 66 24 78 40 76 58 58 60 48
  poly amber 89 39 100 44 88 47
  disc black 82 42 2.6

cat 82x100
  coat = orange slate black sand brown snow
  curve coat 9 54 92 70 90 72 70 66 58
  blob coat 14 62 20 44 40 42 56 60 60 84 54 97 16 97 10 84
  poly coat 8 6 26 18 10 32
  poly coat 52 6 50 32 34 18
  poly pink 12 12 22 19 13 26
  poly pink 48 12 47 26 38 19
  oval coat 30 30 24 19
  blob coat+ 22 60 30 54 38 60 38 78 30 84 22 78
  oval lime 20 27 4.5 5
  oval lime 40 27 4.5 5
  oval black 20 27 1.8 4.5
  oval black 40 27 1.8 4.5
  poly pink 26 34 34 34 30 38
  line coat-- 1.5 30 38 26 42
  line coat-- 1.5 30 38 34 42
  line coat-- 1.2 14 36 1 33
  line coat-- 1.2 14 39 1 41
  line coat-- 1.2 46 36 59 33
  line coat-- 1.2 46 39 59 41
  line coat-- 1.5 30 82 30 96
  oval coat+ 22 96 8 4
  oval coat+ 38 96 8 4

cat 100x70
  coat = orange slate black sand brown snow
  curve coat 7 20 34 8 28 4 14 12 4
  line coat- 8 28 44 24 66
  line coat- 8 66 44 68 66
  line coat 8 20 42 16 66
  line coat 8 60 44 60 66
  blob coat 12 36 22 28 44 30 66 26 74 36 68 50 44 52 22 50
  line coat-- 2.5 32 30 34 40
  line coat-- 2.5 42 31 43 41
  line coat-- 2.5 52 31 52 40
  poly coat 66 4 80 10 68 22
  poly coat 98 4 84 10 96 22
  oval coat 82 22 16 13
  poly pink 69 9 76 12 70 17
  poly pink 95 9 88 12 94 17
  oval lime 76 20 3 3.5
  oval lime 89 20 3 3.5
  oval black 76 20 1.3 3
  oval black 89 20 1.3 3
  poly pink 80 26 85 26 82.5 29

dog 100x84
  coat = brown ochre charcoal sand snow umber
  collar = red blue teal
  curve coat 6 16 42 8 32 4 20
  line coat- 9 26 54 24 70 26 84
  line coat- 9 58 52 60 84
  blob coat 12 42 24 36 46 37 62 26 76 30 76 50 68 62 56 62 42 57 24 60 14 54
  poly coat 12 44 30 44 26 66 16 66
  line coat 9 18 56 15 70 17 84
  line coat 9 67 54 67 84
  line coat 6 17 85 22 85
  line coat 6 67 85 73 85
  blob coat 58 40 60 18 66 8 78 5 86 10 88 17 98 19 100 25 97 31 86 33 78 36 76 48
  line collar 5 60 34 75 41
  blob coat-- 62 8 70 6 74 16 72 30 66 35 60 28 59 16
  oval black 97.5 20 3 2.6
  disc black 81 14 2.4
  disc white 81.6 13.4 0.8
  line coat-- 1.4 97 27 88 28

dog 80x100
  coat = brown ochre black sand snow umber
  patch = cream white tan
  curve coat 8 58 92 74 86 76 72
  blob coat 18 60 30 46 50 46 62 62 66 86 60 98 18 98 12 86
  blob patch 30 56 40 52 50 56 48 74 40 80 32 74
  blob coat 16 14 40 3 64 14 68 36 58 52 40 58 22 52 12 36
  blob coat-- 14 10 20 8 22 24 16 46 6 46 3 28
  blob coat-- 66 10 60 8 58 24 64 46 74 46 77 28
  blob patch 40 26 52 38 50 50 40 55 30 50 28 38
  disc black 30 26 3.6
  disc black 50 26 3.6
  oval black 40 38 6 4
  line black 1.6 40 42 40 47
  blob rose 37 48 43 48 43 56 40 58 37 56
  line coat-- 1.6 40 80 40 96
  oval patch 28 96 9 4
  oval patch 52 96 9 4

horse 100x94
  coat = brown umber ochre maroon slate
  mane = black umber cream
  curve mane 8 13 38 5 48 4 70
  line coat- 7 25 52 30 68 27 90
  line coat- 7 59 54 59 90
  poly coat 11 42 30 42 24 66 18 66
  line coat 7 20 56 22 68 17 90
  line coat 7 67 52 69 70 67 90
  line black 6 16 91 20 91
  line black 6 66 91 70 91
  blob coat 10 44 18 34 34 36 52 36 66 34 74 44 72 56 62 63 46 60 32 59 18 60 11 54
  poly coat 50 42 68 8 84 16 78 36 72 54
  blob coat 68 10 76 5 84 9 92 20 99 27 98 34 92 36 84 29 76 25 69 22
  blob mane 74 3 80 8 71 14 64 28 57 42 47 42 55 26 64 8
  poly coat 72 9 76 0 80 8
  disc black 82 14 2.2
  oval coat-- 95.5 30 1.8 1.6

sheep 100x82
  wool = white cream snow
  face = black umber peach charcoal
  line face 7 24 54 24 78
  line face 7 36 56 36 78
  line face 7 58 56 58 78
  line face 7 70 54 70 78
  disc wool- 14 40 13
  disc wool- 20 54 13
  disc wool- 38 58 14
  disc wool- 58 58 14
  disc wool 20 26 15
  disc wool 36 17 16
  disc wool 54 16 16
  disc wool 66 28 15
  disc wool 72 46 14
  oval wool 44 38 32 22
  ring wool- 2 34 34 7
  ring wool- 2 54 32 7
  ring wool- 2 44 46 7
  oval face 72 22 8 4
  blob face 78 14 90 16 99 32 96 42 88 44 80 34
  disc wool 77 14 8
  disc white 86 25 3
  disc black 87 25 1.6

cow 100x76
  coat = white snow cream
  patch = black umber brown
  line coat- 8 26 48 26 72
  line coat- 8 62 48 62 72
  line coat 8 16 46 16 72
  line coat 8 70 46 70 72
  line patch 8 16 72 16 73
  line patch 8 70 72 70 73
  curve coat-- 3 9 20 4 32 5 48
  oval patch 5 51 3 6
  blob coat 8 20 20 13 50 15 72 12 78 22 76 44 66 54 40 52 18 54 10 42
  oval pink 30 54 8 6
  blob patch 14 18 30 14 36 24 28 36 16 32
  blob patch 46 26 58 16 66 24 60 42 48 40
  blob coat 72 10 84 6 92 12 97 28 98 40 88 43 80 36 74 24
  blob patch 72 12 82 7 84 18 80 30 74 24
  line cream- 3.5 80 6 78 0.5 84 1
  oval patch 71 13 7 3.5
  oval rose 92 37 7.5 6
  disc maroon 94 37 1.5
  disc black 88 20 2.6

elephant 100x76
  hide = slate steel grey
  curve hide- 3 6 26 2 40 3 52
  box hide- 26 44 38 79 4
  box hide- 50 44 62 79 4
  box hide 8 40 23 79 4
  box hide 58 40 72 79 4
  blob hide 4 28 18 10 44 4 64 8 74 30 70 52 50 58 24 56 8 50
  curve hide 12 82 28 88 44 88 62 94 70
  disc hide 76 22 17
  poly cream 80 36 88 36 98 48 90 46
  blob hide- 52 10 64 6 72 18 72 36 62 44 52 36
  disc black 82 19 2.6
  line cream 3 10 77 20 77
  line cream 3 60 77 70 77

bear 100x68
  fur = umber brown black coffee
  box fur- 24 36 37 66 5
  box fur- 56 36 68 66 5
  box fur 6 34 22 67 6
  box fur 62 34 76 67 6
  blob fur 3 28 16 10 40 8 62 4 78 14 80 36 68 48 40 50 16 50 5 42
  disc fur 72 8 6.5
  disc fur 86 8 6.5
  disc fur- 72 8 3.5
  blob fur 64 16 78 6 90 12 96 24 88 36 74 36
  oval tan 91 26 9 7
  oval black 97 23 3.2 2.6
  disc black 83 18 2.4
  line black 1.6 96 30 88 31
  line cream 2 8 66 18 66
  line cream 2 64 66 74 66

zebra 100x92
  stripe = black charcoal
  curve stripe 3 12 36 5 46 5 60
  oval stripe 5 64 3 6
  line silver 6 26 52 28 88
  line silver 6 60 54 60 88
  line white 7 18 50 18 88
  line white 7 67 52 68 88
  line stripe 6 18 88 20 88
  line stripe 6 68 88 70 88
  blob white 9 42 18 33 42 37 60 34 70 40 71 52 62 60 40 57 20 60 11 52
  poly white 52 40 74 8 86 14 78 34 70 52
  blob white 72 8 80 6 90 14 99 26 97 32 91 33 80 25 73 21
  curve stripe 4.5 15 38 20 46 16 54
  curve stripe 4.5 26 36 30 46 28 58
  curve stripe 4.5 37 37 40 47 39 56
  curve stripe 4.5 48 37 50 47 50 57
  curve stripe 4.5 58 37 62 48 62 58
  line stripe 4 58 32 70 42
  line stripe 4 63 24 75 33
  line stripe 4 68 16 79 24
  line stripe 3.5 78 8 82 20
  line stripe 3 85 12 87 24
  oval stripe 95 29 4.5 4
  line stripe 3.5 15 66 21 66
  line stripe 3.5 15 76 21 76
  line stripe 3.5 64 66 70 66
  line stripe 3.5 65 76 71 76
  line stripe 6 72 5 54 34
  poly white 72 8 75 0 79 8
  disc black 83 15 2

giraffe 66x100
  hide = amber ochre gold
  spot = brown umber coffee
  line hide- 4.5 18 66 18 97
  line hide- 4.5 38 66 38 97
  line hide 5 10 64 9 97
  line hide 5 42 64 43 97
  line spot 5 9 97 10 97
  line spot 5 43 97 44 97
  curve spot 2.5 6 54 2 64 3 74
  poly hide 30 56 44 10 54 14 46 64
  blob hide 5 56 14 50 34 52 44 54 47 64 40 71 20 69 8 68
  line spot 2.5 48 3 49 10
  line spot 2.5 53 3 52 10
  disc spot 48 2.5 2.2
  disc spot 53.5 2.5 2.2
  poly hide 40 8 47 8 47 13
  blob hide 44 8 54 8 65 18 62 23 52 20 45 18
  line spot 4 44 12 30 52
  poly spot 44 22 50 20 48 28 43 28
  poly spot 40 34 47 32 46 40 39 40
  poly spot 37 46 44 44 44 52 36 52
  poly spot 10 55 18 54 18 61 9 61
  poly spot 22 54 30 56 28 63 21 61
  poly spot 34 58 42 57 42 65 33 65
  poly spot 14 64 21 64 20 69 13 68
  poly spot 25 65 31 65 31 70 25 69
  disc black 54 13 2
  oval spot 63 20 2.5 2.5
"""
