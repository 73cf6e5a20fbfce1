"""Drawings of electric and electronic things, in the language of ``glyphs_drawing.py``."""

ART = """
tv 100x68
  screen = sky navy teal blue
  frame = black charcoal
  box frame 24 62 76 68 2
  box frame 44 54 56 66
  box frame 0 0 100 58 4
  box screen 4 4 96 53 2
  poly screen+ 10 4 44 4 20 53 4 53 4 18

tv 100x96
  wood = brown charcoal umber slate
  line slate 2.5 52 22 32 2
  line slate 2.5 52 22 74 3
  box wood- 16 88 26 96 1
  box wood- 74 88 84 96 1
  box wood 0 20 100 90 9
  box black 7 27 74 83 12
  box glass- 11 31 70 79 10
  disc silver 87 38 6
  disc silver 87 56 6
  line silver 2 81 70 93 70
  line silver 2 81 76 93 76

laptop 100x68
  case = silver slate charcoal snow
  screen = sky navy teal blue
  box case- 14 0 86 52 4
  box black 17 3 83 48 2
  box screen 19 5 81 46 1
  poly screen+ 22 5 46 5 32 46 19 46 19 14
  poly case 12 51 88 51 100 64 0 64
  poly charcoal 17 53 83 53 88 59 12 59
  box case- 0 63 100 68 2
  box case- 42 60 58 63 1

mouse 60x100
  case = charcoal white silver slate red
  curve slate 3 30 24 33 8 24 -4
  blob case 30 20 48 25 58 46 57 74 44 91 30 94 16 91 3 74 2 46 12 25
  line case-- 2 30 22 30 52
  curve case-- 2 4 52 30 56 56 52
  box black 26 30 34 44 4

remote 28x100
  case = black charcoal slate silver
  box case 0 0 28 100 8
  disc red 20 9 3.5
  ring silver 3 14 28 9
  disc silver 14 28 4
  disc snow 7 48 2.8
  disc snow 14 48 2.8
  disc snow 21 48 2.8
  disc snow 7 57 2.8
  disc snow 14 57 2.8
  disc snow 21 57 2.8
  disc snow 7 66 2.8
  disc snow 14 66 2.8
  disc snow 21 66 2.8
  box cyan 5 76 11 88 2
  box amber 17 76 23 88 2

keyboard 100x38 fixed
  case = charcoal slate black
  key = snow white cream
  box case 0 0 100 38 4
  box key 5.0 4 10.3 8.6 0.8
  box key 12.1 4 17.3 8.6 0.8
  box key 19.1 4 24.4 8.6 0.8
  box key 26.2 4 31.4 8.6 0.8
  box key 33.2 4 38.5 8.6 0.8
  box key 40.3 4 45.6 8.6 0.8
  box key 47.4 4 52.6 8.6 0.8
  box key 54.4 4 59.7 8.6 0.8
  box key 61.5 4 66.8 8.6 0.8
  box key 68.6 4 73.8 8.6 0.8
  box key 75.6 4 80.9 8.6 0.8
  box key 82.7 4 87.9 8.6 0.8
  box key 89.7 4 95.0 8.6 0.8
  box key 5.0 10.5 10.3 15.1 0.8
  box key 12.1 10.5 17.3 15.1 0.8
  box key 19.1 10.5 24.4 15.1 0.8
  box key 26.2 10.5 31.4 15.1 0.8
  box key 33.2 10.5 38.5 15.1 0.8
  box key 40.3 10.5 45.6 15.1 0.8
  box key 47.4 10.5 52.6 15.1 0.8
  box key 54.4 10.5 59.7 15.1 0.8
  box key 61.5 10.5 66.8 15.1 0.8
  box key 68.6 10.5 73.8 15.1 0.8
  box key 75.6 10.5 80.9 15.1 0.8
  box key 82.7 10.5 87.9 15.1 0.8
  box key 89.7 10.5 95.0 15.1 0.8
  box key 5.0 17 10.3 21.6 0.8
  box key 12.1 17 17.3 21.6 0.8
  box key 19.1 17 24.4 21.6 0.8
  box key 26.2 17 31.4 21.6 0.8
  box key 33.2 17 38.5 21.6 0.8
  box key 40.3 17 45.6 21.6 0.8
  box key 47.4 17 52.6 21.6 0.8
  box key 54.4 17 59.7 21.6 0.8
  box key 61.5 17 66.8 21.6 0.8
  box key 68.6 17 73.8 21.6 0.8
  box key 75.6 17 80.9 21.6 0.8
  box key 82.7 17 87.9 21.6 0.8
  box key 89.7 17 95.0 21.6 0.8
  box key 5.0 23.5 10.3 28.1 0.8
  box key 12.1 23.5 17.3 28.1 0.8
  box key 19.1 23.5 24.4 28.1 0.8
  box key 26.2 23.5 31.4 28.1 0.8
  box key 33.2 23.5 38.5 28.1 0.8
  box key 40.3 23.5 45.6 28.1 0.8
  box key 47.4 23.5 52.6 28.1 0.8
  box key 54.4 23.5 59.7 28.1 0.8
  box key 61.5 23.5 66.8 28.1 0.8
  box key 68.6 23.5 73.8 28.1 0.8
  box key 75.6 23.5 80.9 28.1 0.8
  box key 82.7 23.5 87.9 28.1 0.8
  box key 89.7 23.5 95.0 28.1 0.8
  box key 5 30 20 35 1
  box key 23 30 75 35 1
  box key 78 30 95 35 1

cell phone 50x100
  case = black charcoal silver red white
  screen = sky blue navy teal purple
  box case 0 0 50 100 8
  box screen 4 11 46 86 2
  line slate 2 19 6 31 6
  disc slate 25 93 4
  box lime 9 18 18 27 2
  box orange 21 18 30 27 2
  box pink 33 18 42 27 2
  box yellow 9 32 18 41 2
  box white 21 32 30 41 2
  box red 33 32 42 41 2
  box white 9 74 42 82 3

clock 100x100 fixed
  rim = black red brown navy gold teal
  disc rim 50 50 50
  disc white 50 50 41
  line charcoal 4 50 14 50 21
  line charcoal 4 50 79 50 86
  line charcoal 4 14 50 21 50
  line charcoal 4 79 50 86 50
  line grey 2.5 68 19 66 23
  line grey 2.5 81 32 77 34
  line grey 2.5 81 68 77 66
  line grey 2.5 68 81 66 77
  line grey 2.5 32 81 34 77
  line grey 2.5 19 68 23 66
  line grey 2.5 19 32 23 34
  line grey 2.5 32 19 34 23
  line black 5 50 50 34 36
  line black 4 50 50 60 22
  disc red 50 50 4

hair drier 100x84
  case = pink red charcoal teal purple cyan
  line charcoal 3 56 80 66 83
  poly case-- 42 34 62 40 64 80 48 82
  poly slate 0 10 12 10 12 46 0 46
  blob case 10 12 40 6 66 2 90 6 98 26 90 48 66 52 40 50 10 44
  ring case- 4 76 27 16
  disc slate 76 27 9
  line white 3 18 20 46 16
  box white 52 58 58 68 2
"""
