"""Drawings of tableware and kitchen appliances, in the language of ``glyphs_drawing.py``."""

ART = """
bottle 34x100
  glass = green brown forest sky red
  label = white cream yellow orange
  cap = red gold blue black white
  box glass 11 6 23 34 3
  poly glass 11 28 23 28 26 37 34 47 0 47 8 37
  box glass 0 41 34 100 6
  box cap 10 0 24 9 2
  box label 0 56 34 82
  box label- 6 64 28 67
  box label- 9 72 25 75
  line glass+ 3 6 46 6 52

wine glass 48x100
  wine = crimson maroon gold rose
  line silver 3.5 24 54 24 94
  oval silver 24 96 17 4
  blob glass 4 4 10 0 38 0 44 4 47 28 40 48 24 58 8 48 1 28
  blob wine 2.5 24 24 22 45.5 24 44 36 38 47 24 55 10 47 4 36
  line white 2.5 9 8 8 18

cup 100x86
  mug = red blue white teal yellow purple sky
  ring mug- 8 80 44 20 22
  box mug 0 6 76 86 12
  box mug 0 6 76 40
  oval mug- 38 8 38 8
  oval coffee 38 10 32 5.5
  line mug+ 4 10 28 10 62

cup 66x100
  paper = white cream red green brown
  lid = black white coffee
  sleeve = wood tan teal
  poly paper 4 14 62 14 54 97 50 100 16 100 12 97
  poly sleeve 6 40 60 40 56 72 10 72
  box lid 0 8 66 18 4
  box lid 8 0 58 10 4
  disc paper 33 56 9

fork 30x100 fixed
  metal = silver steel slate gold
  line metal 4.5 3 3 3 30
  line metal 4.5 11 3 11 32
  line metal 4.5 19 3 19 32
  line metal 4.5 27 3 27 30
  blob metal 1 26 15 32 29 26 26 40 18 48 12 48 4 40
  line metal 6 15 44 15 66
  line metal- 8 15 66 15 96

knife 18x100
  handle = black brown umber red slate
  poly silver 6 56 5 6 8 0 16 6 22 24 23 56
  poly steel 5 6 8 0 10 4 10 56 6 56
  box handle 5 55 21 100 5
  disc silver 13 66 2
  disc silver 13 86 2

spoon 30x100 fixed
  metal = silver steel slate wood
  line metal 6 15 34 15 70
  line metal- 8 15 66 15 96
  oval metal 15 20 15 20
  oval metal- 15 21 10 14
  oval metal+ 12 17 5 9

bowl 100x54
  china = white blue red teal yellow sand
  food = orange cream green ochre
  chord china 50 12 50 40 0 180
  box china- 32 48 68 54 2
  oval china- 50 12 50 12
  oval food 50 13 43 8
  disc food+ 36 12 4
  disc food- 56 14 4
  arc china- 3 50 4 42 38 30 150

microwave 100x58
  case = silver charcoal white slate
  box charcoal 6 54 18 58
  box charcoal 82 54 94 58
  box case 0 0 100 56 6
  box black 5 7 70 49 4
  box slate 11 13 64 43 3
  oval silver 38 38 20 4
  line case- 3 74 10 74 46
  box black 79 7 96 17 2
  line signal 2 82 12 92 12
  disc case- 82 25 2.6
  disc case- 88 25 2.6
  disc case- 94 25 2.6
  disc case- 82 33 2.6
  disc case- 88 33 2.6
  disc case- 94 33 2.6
  box case- 79 40 97 48 2

oven 86x100
  case = silver white charcoal slate
  box charcoal 6 94 80 100 2
  box case 0 4 86 96 6
  line black 4 8 3 34 3
  line black 4 52 3 78 3
  box case- 0 6 86 26 3
  disc black 14 16 5
  disc black 30 16 5
  disc black 56 16 5
  disc black 72 16 5
  line silver 4.5 12 34 74 34
  box black 10 42 76 84 5
  box amber- 16 48 70 78 3
  line slate 2 16 58 70 58
  line slate 2 16 68 70 68

toaster 100x76
  case = silver red cream teal steel
  blob crust 16 6 24 1 38 1 46 6 44 14 44 34 18 34 18 14
  blob crust 54 6 62 1 76 1 84 6 82 14 82 34 56 34 56 14
  blob cream 21 9 27 6 36 6 41 10 40 34 22 34
  blob cream 59 9 65 6 74 6 79 10 78 34 60 34
  box charcoal 6 68 94 76 3
  box case 0 24 94 72 14
  box case- 8 26 86 31 2
  line case+ 4 8 44 8 60
  box charcoal 93 34 100 42 2
  disc charcoal 76 56 6

sink 100x70
  basin = white silver snow
  line steel 6 50 34 50 8
  arc steel 6 60 12 13 12 180 360
  line steel 5 70 12 70 20
  disc steel 34 32 5
  line steel 3 28 30 40 30
  box basin- 0 34 100 44 5
  poly basin 4 42 96 42 82 70 18 70
  oval slate 50 40 38 4
  oval glass 54 41 26 2.4

refrigerator 50x100
  case = silver white snow steel red sky
  box charcoal 4 95 46 100 2
  box case 0 0 50 97 6
  box case-- 0 34 50 36
  line case-- 4 8 12 8 28
  line case-- 4 8 42 8 66
  box case- 44 4 47 32 1
  box case- 44 40 47 92 1
  box yellow 26 12 34 20 1
"""
