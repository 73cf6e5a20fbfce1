"""Drawings of food, in the language of ``glyphs_drawing.py``."""

ART = """
banana 100x72
  peel = yellow gold lime
  blob peel 6 2 14 2 18 18 34 38 60 46 88 40 98 46 92 58 66 71 38 68 16 52 6 28
  curve peel- 3 12 14 20 36 42 54 68 58 94 48
  poly umber 4 0 14 0 14 7 6 8
  disc umber 96 48 4

banana 100x84
  peel = yellow gold
  blob peel- 42 4 56 6 68 26 90 44 98 58 92 66 72 60 50 40 42 20
  blob peel 42 4 54 6 58 30 68 56 72 74 64 82 50 72 40 44 38 20
  blob peel+ 36 4 52 6 46 34 32 60 14 76 3 74 4 64 18 46 32 22
  box umber 38 0 54 10 3

apple 92x100
  skin = red crimson green lime
  blob skin 46 24 64 18 84 24 92 48 84 78 66 98 46 94 26 98 8 78 0 48 8 24 28 18
  line umber 4.5 46 26 48 12 54 3
  blob forest 52 14 62 3 80 2 74 14 60 18
  blob skin+ 16 38 24 30 28 36 20 54 14 54

sandwich 100x72
  bread = crust tan ochre
  blob bread 6 22 10 8 30 1 70 1 90 8 94 22 90 28 10 28
  blob green 0 32 12 26 30 30 50 26 70 30 90 26 100 32 84 38 66 36 50 40 32 36 14 38
  box red 6 35 94 43 4
  poly yellow 8 41 92 41 76 50 66 43 40 43 30 51 20 43
  box brown 5 46 95 55 4
  box bread- 6 54 94 72 9
  line bread+ 3 24 9 60 6

sandwich 100x74
  bread = cream sand
  poly crust 0 70 50 0 100 70 98 74 2 74
  poly bread 10 64 50 9 90 64
  poly bread- 10 60 90 60 94 68 6 68
  blob green 2 58 24 52 50 56 76 52 98 58 76 63 50 61 24 63
  box rose 6 60 94 66 2
  box bread 4 65 96 74 3

orange 96x100
  peel = orange orange amber
  disc peel 48 53 47
  disc peel- 48 14 5
  blob forest 50 12 60 1 80 2 72 14 58 16
  disc peel+ 30 38 7
  disc peel- 62 66 1.6
  disc peel- 70 54 1.6
  disc peel- 50 76 1.6
  disc peel- 34 68 1.6
  disc peel- 76 68 1.6

orange 100x62
  peel = orange amber
  chord peel 50 6 50 55 0 180
  oval peel 50 8 50 8
  chord cream 50 7 45 48 0 180
  pie peel+ 46 10 38 38 100 150
  pie peel+ 50 10 38 40 66 114
  pie peel+ 54 10 38 38 30 80
  line cream 2.5 50 8 36 48
  line cream 2.5 50 8 64 48

broccoli 92x100
  floret = forest green
  blob lime 34 46 58 46 58 74 62 96 32 96 36 74
  line lime 9 42 72 22 56
  line lime 9 52 72 72 56
  disc floret- 16 46 15
  disc floret- 76 46 15
  disc floret 14 34 14
  disc floret 30 20 18
  disc floret 56 16 16
  disc floret 76 30 15
  disc floret 44 40 20
  disc floret 62 44 15
  disc floret 28 48 14
  disc floret+ 26 14 4
  disc floret+ 54 10 4
  disc floret+ 44 30 4
  disc floret+ 72 26 4
  disc floret+ 18 34 3
  disc floret+ 62 40 3

carrot 100x58
  root = orange orange amber
  curve green 5 72 20 84 10 98 6
  curve green 5 72 20 84 18 98 18
  curve forest 5 70 18 76 8 84 1
  blob root 2 56 20 36 48 14 66 6 78 16 76 30 60 40 30 52
  line root- 2 34 32 42 38
  line root- 2 50 20 56 26
  line root- 2 58 36 52 31
  line root- 2 22 44 28 48

hot dog 100x44
  bun = crust tan ochre
  sausage = maroon brown rose
  sauce = yellow amber
  blob bun- 6 16 20 4 80 4 94 16 90 28 10 28
  box sausage 0 10 100 32 11
  blob bun 4 26 16 24 50 30 84 24 96 26 94 38 80 45 20 45 6 38
  curve sauce 4.5 10 18 20 12 30 20 40 12 50 20 60 12 70 20 80 12 90 18

pizza 100x92
  cheese = yellow amber gold
  poly cheese 6 14 94 14 50 92
  curve crust 13 7 15 28 7 50 6 72 7 93 15
  disc red 34 30 9
  disc red 64 28 9
  disc red 50 54 9
  disc maroon 34 30 2
  disc maroon 64 28 2
  disc maroon 50 54 2
  blob green 46 36 52 32 56 38 50 42
  blob green 72 40 76 36 78 44 72 46
  disc umber 50 74 3

pizza 100x100
  cheese = yellow amber gold
  disc crust 50 50 50
  disc cheese 50 50 42
  disc red 34 30 9
  disc red 66 34 9
  disc red 70 66 9
  disc red 40 72 9
  disc red 50 50 8
  disc red 20 54 7
  blob green 48 18 56 22 52 30 46 26
  blob green 78 46 84 52 80 58 76 54
  blob green 30 50 36 46 38 54 32 58
  line crust- 2 50 8 50 92
  line crust- 2 14 28 86 72
  line crust- 2 86 28 14 72

donut 100x100 fixed
  icing = pink coffee white sky rose
  disc crust 50 50 50
  blob icing 50 5 72 8 88 24 94 46 88 70 72 90 50 94 28 91 12 74 6 50 10 26 28 10
  disc crust- 50 50 19
  disc clear 50 50 14
  line cyan 4 26 26 32 22
  line yellow 4 66 18 72 22
  line red 4 82 44 82 51
  line white 4 70 74 75 70
  line lime 4 48 84 55 84
  line yellow 4 24 70 28 75
  line purple 4 14 46 18 50
  line orange 4 46 14 51 17
  line purple 4 74 36 77 41
  line cyan 4 36 80 32 76

cake 100x88
  sponge = cream pink coffee yellow
  icing = white pink coffee rose
  line sky 4 30 16 30 32
  line pink 4 50 16 50 32
  line lime 4 70 16 70 32
  oval amber 30 9 3 6
  oval amber 50 9 3 6
  oval amber 70 9 3 6
  oval silver 50 82 50 9
  box sponge 10 40 90 84 8
  box sponge- 10 60 90 65
  box icing 10 30 90 48 8
  line icing 10 18 44 18 54
  line icing 10 34 44 34 50
  line icing 10 50 44 50 56
  line icing 10 66 44 66 50
  line icing 10 82 44 82 54
  oval icing- 50 33 36 4

cake 100x85
  sponge = cream amber pink coffee
  icing = white pink rose coffee
  poly sponge 4 36 96 30 96 72 90 76 4 80
  poly icing 4 36 72 14 96 30
  poly icing 4 36 96 30 96 38 4 44
  poly icing 4 56 96 51 96 56 4 61
  disc red 70 13 10
  line forest 2 70 5 75 1
"""
