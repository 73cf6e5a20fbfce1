"""Drawings of bags, clothes and sports gear, in the language of ``glyphs_drawing.py``."""

ART = """
backpack 74x100
  bag = red blue green navy purple orange teal charcoal
  arc bag-- 5 37 13 10 12 180 360
  box bag-- 0 48 16 88 8
  box bag-- 58 48 74 88 8
  box bag 8 8 66 99 18
  box bag- 14 50 60 92 9
  line bag+ 2.5 18 60 56 60
  box bag-- 12 36 62 41 2
  box amber 22 34 28 46 2
  box amber 46 34 52 46 2
  line bag+ 2.5 24 22 50 22

umbrella 100x92
  cloth = red blue purple yellow green black pink teal
  line slate 3 50 2 50 78
  arc wood 4.5 57 80 9 11 0 180
  chord cloth 50 46 50 42 180 360
  pie cloth- 50 46 20 42 180 360
  chord clear 15 47 16 7 180 360
  chord clear 50 47 19 7 180 360
  chord clear 85 47 16 7 180 360
  line slate 3 50 40 50 78

handbag 100x92
  bag = brown red black pink teal purple tan
  arc bag- 6 50 38 24 36 180 360
  poly bag 12 36 88 36 100 86 96 92 4 92 0 86
  poly bag- 12 36 88 36 92 56 50 66 8 56
  box gold 43 56 57 70 3
  box bag- 48 61 52 66
  disc gold 26 40 3.5
  disc gold 74 40 3.5

tie 32x100 fixed
  cloth = red blue navy purple green maroon
  poly cloth- 6 2 26 2 21 16 11 16
  poly cloth 11 16 21 16 32 80 16 100 0 80
  poly cloth+ 8 33 24 41 25 47 7 39
  poly cloth+ 5 51 27 61 28 67 4 57
  poly cloth+ 2 70 30 80 26 86 1 76

suitcase 74x100
  shell = red blue teal brown slate orange purple
  ring slate 4 37 14 14 14
  box clear 16 18 58 30
  line slate 4 23 10 23 24
  line slate 4 51 10 51 24
  box black 10 90 20 100 3
  box black 54 90 64 100 3
  box shell 0 22 74 94 9
  line shell- 4 16 30 16 86
  line shell- 4 30 30 30 86
  line shell- 4 44 30 44 86
  line shell- 4 58 30 58 86
  box silver 32 22 42 30 2

suitcase 100x82
  shell = brown wood red navy umber
  arc shell-- 6 50 16 16 15 180 360
  box shell 0 16 100 82 8
  box shell- 16 16 25 82
  box shell- 75 16 84 82
  box shell- 0 42 100 46
  box gold 18 40 23 51 1
  box gold 77 40 82 51 1
  box cream 36 54 64 70 3

frisbee 100x46
  disc = red blue lime orange pink yellow white cyan
  oval disc- 50 25 50 21
  oval disc 50 20 50 20
  ring disc- 2.5 50 18 36 13
  ring disc- 2 50 17 22 8
  oval disc+ 50 16 12 4

skis 60x100
  ski = red blue yellow lime orange cyan
  curve ski 7 8 5 12 20 24 96
  curve ski 7 52 5 48 20 36 96
  line ski- 2.5 14 30 22 88
  line ski- 2.5 46 30 38 88
  box black 13 50 23 63 2
  box black 37 50 47 63 2
  line charcoal 2 54 14 4 94
  line charcoal 2 6 14 56 94
  ring charcoal 1.5 7 88 5 3
  ring charcoal 1.5 53 88 5 3

snowboard 100x44
  board = purple lime red cyan orange black
  trim = white yellow pink sky
  blob board 1 9 8 1 18 5 50 18 84 24 97 31 99 39 92 43 80 41 48 33 12 20
  blob trim 8 9 18 10 40 18 50 24 34 22 14 14
  blob trim 56 26 74 28 90 34 88 38 72 36
  line charcoal 7 30 13 27 23
  line charcoal 7 68 23 65 34
  line silver 2 26 10 33 26
  line silver 2 64 20 71 37

sports ball 100x100
  panel = black navy
  disc white 50 50 50
  poly panel 50 32 67 44 60 64 40 64 33 44
  line panel 3 50 32 50 16
  line panel 3 67 44 84 38
  line panel 3 60 64 72 79
  line panel 3 40 64 28 79
  line panel 3 33 44 16 38
  poly panel 36 4 64 4 62 14 50 19 38 14
  poly panel 84 26 97 46 95 56 84 50 80 38
  poly panel 16 26 3 46 5 56 16 50 20 38
  poly panel 66 82 74 74 86 76 76 90 66 94
  poly panel 34 82 26 74 14 76 24 90 34 94

sports ball 100x100
  skin = orange ochre
  disc skin 50 50 50
  line black 3 50 2 50 98
  line black 3 2 50 98 50
  curve black 3 16 16 34 34 34 66 16 84
  curve black 3 84 16 66 34 66 66 84 84

sports ball 100x100
  felt = lime yellow
  disc felt 50 50 50
  curve white 6 22 10 36 32 32 62 8 76
  curve white 6 78 90 64 68 68 38 92 24

sports ball 100x100
  disc white 50 50 50
  curve red 3 22 10 34 34 34 66 22 90
  curve red 3 78 10 66 34 66 66 78 90
  line red 2 28 34 40 28
  line red 2 28 50 40 46
  line red 2 28 66 40 64
  line red 2 60 28 72 34
  line red 2 60 46 72 50
  line red 2 60 64 72 66

kite 58x100
  left = red yellow blue pink lime
  right = orange cyan purple green white
  curve slate 2 34 62 44 74 32 84 42 97
  poly left 30 0 6 26 34 66
  poly right 30 0 62 22 34 66
  poly left- 6 26 32 24 34 66
  poly right- 62 22 32 24 34 66
  line charcoal 1.5 30 0 34 66
  line charcoal 1.5 6 26 62 22
  poly left 42 74 34 70 33 79
  poly left 42 74 50 70 51 79
  poly right 32 86 24 82 23 91
  poly right 32 86 40 82 41 91

kite 86x100
  cloth = red blue green orange purple
  edge = yellow white cyan pink
  curve slate 1.5 44 60 52 72 40 84 30 98
  poly cloth 43 0 86 30 43 66
  poly edge 43 0 0 30 43 66
  poly edge 43 0 60 12 60 52 43 66
  poly cloth 43 0 26 12 26 52 43 66
  line charcoal 1.5 43 0 43 66
  line charcoal 1.5 0 30 86 30
  poly cloth 47 76 56 70 56 80
  poly edge 47 76 38 72 40 82
  poly cloth 36 90 44 84 45 94
  poly edge 36 90 27 86 29 96

baseball bat 100x60
  wood = wood ochre sand black brown
  poly wood 6 53 58 22 84 4 92 14 62 30 9 57
  disc wood 88 10 9.5
  disc wood 60 26 4.5
  line black 5 8 55 26 44
  disc wood- 5 55.5 4.5
  line wood+ 2.5 60 22 82 9

baseball glove 91x100
  leather = brown wood ochre umber
  blob leather 4 40 12 36 20 46 24 56 24 84 40 99 68 98 88 82 92 60 84 48 30 42 16 58 6 60
  line leather 15 31 52 26 14
  line leather 15 47 50 45 8
  line leather 15 63 50 64 9
  line leather 15 78 54 82 18
  oval leather 56 66 34 32
  line leather 15 24 72 9 44
  poly leather- 17 30 29 46 31 60 22 58
  line leather-- 2 39 14 40 46
  line leather-- 2 55 10 55 46
  line leather-- 2 73 14 70 46
  curve leather-- 2.5 28 70 44 82 66 82 82 68
  disc white 52 64 16
  arc red 2 40 64 12 14 300 60
  arc red 2 64 64 12 14 120 240

skateboard 100x36
  deck = red teal purple black orange lime
  wheel = amber yellow red lime
  curve deck 9 5 5 16 13 50 14 84 13 95 5
  line deck- 2.5 18 17 82 17
  poly steel 18 17 38 17 32 26 24 26
  poly steel 62 17 82 17 76 26 68 26
  disc wheel 28 27 9
  disc wheel 72 27 9
  disc slate 28 27 3.5
  disc slate 72 27 3.5

surfboard 34x100
  board = white yellow sky orange teal pink
  stripe = red blue navy lime purple
  blob board 17 0 29 22 34 50 30 80 22 99 12 99 4 80 0 50 5 22
  blob stripe 17 4 20 40 20 70 17 96 14 70 14 40
  poly stripe 3.5 28 30.5 28 32 36 2 36
  poly stripe 1.5 40 32.5 40 32.5 44 1.5 44
  poly charcoal 13 82 21 82 17 96

tennis racket 54x100
  rim = red blue black lime purple orange
  line snow 1.2 14 10 14 50
  line snow 1.2 23 4 23 58
  line snow 1.2 32 4 32 58
  line snow 1.2 41 10 41 50
  line snow 1.2 5 18 49 18
  line snow 1.2 3 27 51 27
  line snow 1.2 4 36 50 36
  line snow 1.2 8 45 46 45
  ring rim 5.5 27 30 27 30
  line rim 4 17 57 26 72
  line rim 4 37 57 28 72
  line rim 5 27 70 27 76
  line charcoal 8 27 78 27 96
"""
