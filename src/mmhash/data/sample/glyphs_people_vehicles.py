"""Drawings of people, vehicles and street furniture, in the language of ``glyphs_drawing.py``."""

ART = """
person 44x100
  skin = peach tan brown umber
  hair = black umber brown gold
  shirt = red blue green yellow white purple orange teal
  trousers = navy charcoal brown slate denim
  line skin 7 7 42 4.5 56
  line skin 7 37 42 39.5 56
  box trousers 11 50 21 95 3
  box trousers 23 50 33 95 3
  oval black 15 97 7 3
  oval black 29 97 7 3
  line shirt 9 13 29 7 44
  line shirt 9 31 29 37 44
  box shirt 10 23 34 58 6
  box skin 18 16 26 26 2
  disc hair 22 9.5 9.5
  oval skin 22 12 7.5 8.5

person 52x100
  skin = peach tan brown umber
  hair = black umber brown gold
  shirt = red blue green yellow white pink orange teal
  trousers = navy charcoal brown slate denim
  line skin 7 18 30 8 42 4 54
  line trousers- 11 24 56 14 76 8 92
  line trousers 11 28 56 35 76 40 93
  line black 6 7 96 15 97
  line black 6 40 97 48 97
  box shirt 16 22 36 60 8
  line shirt- 8 27 29 33 44
  line skin 7 33 44 46 50
  box skin 23 14 30 25 2
  disc hair 26 10 9.5
  oval skin 29 11.5 6.5 8

person 48x100
  skin = peach tan brown umber
  hair = black umber brown gold
  dress = red purple pink teal blue white orange
  line skin 6 15 30 6 44 3 56
  line skin 6 33 30 42 44 45 56
  line skin 8 18 74 18 94
  line skin 8 30 74 30 94
  oval black 17 97 6 3
  oval black 31 97 6 3
  poly dress 15 24 33 24 34 46 44 80 4 80 14 46
  line dress 8 16 27 12 36
  line dress 8 32 27 36 36
  box hair 13 4 35 27 8
  disc hair 24 10 10
  box skin 21 16 27 26 2
  oval skin 24 12 7 8.5

bicycle 100x64
  frame = red blue green black yellow teal
  ring charcoal 4 20 43 20
  ring charcoal 4 80 43 20
  ring silver 1.5 20 43 16
  ring silver 1.5 80 43 16
  line frame 4.5 20 43 46 43 38 19 20 43
  line frame 4.5 38 19 69 17 46 43
  line frame 4.5 67 8 80 43
  line frame 4 36 11 39 20
  line black 5 29 10 44 10
  line black 4 76 3 66 6 68 12
  disc steel 46 43 5
  line black 3 46 43 50 52 55 52

motorcycle 100x63
  body = red black blue orange green
  ring black 8 19 47 19
  ring black 8 81 47 19
  disc steel 19 47 6
  disc steel 81 47 6
  line steel 5 68 14 81 47
  line steel 5 19 47 46 48
  box slate 36 30 60 54 5
  line silver 5 40 54 12 56
  line silver 2 40 36 56 36
  line silver 2 40 42 56 42
  blob body 36 28 48 16 64 16 70 26 58 34
  blob black 8 20 16 22 38 22 40 30 26 32 14 28
  line body 6 6 24 24 28 34 32
  blob body- 66 30 78 24 96 28 84 30 72 34
  line black 4 70 14 62 5 54 5
  disc yellow 76 17 6

car 100x42
  body = red blue silver white black green yellow slate
  blob body 1 31 2 23 12 18 24 16 36 2 62 1 78 14 94 19 99 27 98 34 50 35 4 35
  poly glass 28 16 38 5.5 49 5.5 49 16
  poly glass 53 5.5 61 5.5 73 15 53 16
  box body- 2 29 98 35 3
  line body- 1 51 6 51 30
  line body- 2 55 20 60 20
  oval amber 96 23 3 3
  oval red 3 24 2.5 3
  disc black 22 33 9
  disc black 77 33 9
  disc silver 22 33 4.5
  disc silver 77 33 4.5

car 100x82
  body = red blue silver white black green yellow slate
  box black 8 62 24 82 4
  box black 76 62 92 82 4
  poly body 18 34 28 5 33 1 67 1 72 5 82 34
  poly glass 25 32 32 8 68 8 75 32
  oval body 10 28 8 4
  oval body 90 28 8 4
  box body 3 32 97 72 12
  box black 28 50 72 60 4
  line silver 1.5 30 55 70 55
  oval cream 17 47 9 6
  oval cream 83 47 9 6
  box body- 5 64 95 72 4
  box white 40 63 60 70 1

airplane 100x46
  trim = blue red navy orange teal
  hull = white silver snow
  poly trim 2 0 14 0 26 22 10 24
  poly hull- 50 22 38 4 46 4 66 22
  blob hull 2 22 20 18 60 16 86 18 98 26 96 31 84 33 50 33 20 29
  poly steel 40 27 62 27 36 46 24 46
  box slate 38 33 52 39 3
  poly trim- 4 20 20 20 10 30 0 30
  poly glass- 86 21 92 22.5 95 26 87 25
  line trim 2.5 24 27 84 29
  disc navy 32 23 1.7
  disc navy 40 23 1.7
  disc navy 48 23 1.7
  disc navy 56 23 1.7
  disc navy 64 23 1.7
  disc navy 72 23 1.7

bus 100x51
  body = yellow red blue green white orange
  box body 0 2 100 47 6
  box glass 5 9 19 25 2
  box glass 21.5 9 35.5 25 2
  box glass 38 9 52 25 2
  box glass 54.5 9 68.5 25 2
  box glass+ 72 9 82 44 2
  line slate 1 77 9 77 44
  box glass 86 9 100 28 3
  box body- 0 30 70 34
  box charcoal 0 44 100 48 2
  disc black 22 46 8
  disc black 64 46 8
  disc silver 22 46 3.5
  disc silver 64 46 3.5
  disc cream 97 38 3

bus 88x100
  body = yellow red blue green white orange
  box black 8 86 24 100 3
  box black 64 86 80 100 3
  box charcoal 0 34 6 52 3
  box charcoal 82 34 88 52 3
  box body 4 0 84 92 9
  box charcoal 20 4 68 14 3
  line amber 3 26 9 62 9
  box glass 10 18 78 56 4
  line slate 2 44 18 44 56
  disc cream 17 72 6
  disc cream 71 72 6
  box slate 30 68 58 78 2
  box body- 4 82 84 92 4

train 100x46
  body = red blue green silver orange teal
  line slate 3 2 44 98 44
  line slate 2 30 5 36 1 46 1
  box charcoal 2 34 90 40 2
  poly body 0 6 68 5 82 9 99 30 98 36 0 36
  box charcoal 0 4 68 8 2
  box glass 4 12 14 21 1
  box glass 17 12 27 21 1
  box cream 31 11 39 34 1
  box glass 43 12 53 21 1
  box glass 56 12 66 21 1
  poly navy 73 10 81 11 90 22 73 22
  box white 0 26 30 29
  box white 40 26 95 29
  disc black 10 40 4
  disc black 20 40 4
  disc black 66 40 4
  disc black 78 40 4
  disc yellow 94 31 2.5

train 74x100
  body = red blue green yellow orange navy
  line slate 4 16 92 4 99
  line slate 4 58 92 70 99
  line slate 3 10 97 64 97
  poly body 6 20 18 2 56 2 68 20 70 80 62 90 12 90 4 80
  poly navy 12 24 20 10 35 10 35 42 12 42
  poly navy 62 24 54 10 39 10 39 42 62 42
  disc yellow 37 5 4
  box white 5 50 69 58
  disc cream 17 70 7
  disc cream 57 70 7
  box charcoal 10 82 64 93 3
  disc steel 26 88 4
  disc steel 48 88 4

truck 100x55
  cab = red blue white green orange yellow
  load = snow silver sand slate
  box load 0 2 66 44 3
  line load- 1.5 16 5 16 40
  line load- 1.5 33 5 33 40
  line load- 1.5 50 5 50 40
  poly cab 69 12 86 12 94 28 100 31 100 46 69 46
  poly glass 74 16 84 16 90 28 74 28
  box charcoal 0 43 100 49 2
  disc black 14 48 9.5
  disc black 36 48 9.5
  disc black 83 48 9.5
  disc silver 14 48 4
  disc silver 36 48 4
  disc silver 83 48 4
  disc yellow 97 38 3

boat 78x100
  hull = brown red navy white teal
  sail = white cream sky orange
  line wood 3 38 3 38 82
  blob sail 42 4 50 26 66 48 76 68 58 71 42 70
  poly sail- 34 14 34 70 6 70
  poly hull 0 78 78 78 66 97 60 100 18 100 10 97
  line white 3 6 84 71 84

boat 100x46
  hull = white red navy teal yellow
  line slate 2 30 2 30 16
  poly red 31 2 44 6 31 10
  poly snow 24 22 30 12 56 12 66 26 24 26
  poly glass- 34 15 41 15 41 22 31 22
  poly glass- 45 15 54 15 59 22 45 22
  blob hull 0 24 50 26 84 24 100 20 92 34 78 44 40 45 10 44
  line hull- 3 5 33 88 33

traffic light 40x100 fixed
  case = charcoal black amber forest
  poly case 0 14 20 18 40 14 34 26 6 26
  poly case 0 43 20 47 40 43 34 55 6 55
  poly case 0 71 20 75 40 71 34 83 6 83
  box case 5 0 35 100 8
  disc black 20 18 12.5
  disc black 20 50 12.5
  disc black 20 82 12.5
  disc red 20 18 11
  disc amber 20 50 11
  disc signal 20 82 11

fire hydrant 60x100
  body = red red yellow orange
  top = red yellow silver
  box body- 6 90 54 100 3
  box body 16 30 44 92 2
  box body- 0 44 10 62 3
  box body- 50 44 60 62 3
  box body 6 47 54 59 2
  chord top 30 31 17 22 180 360
  box top- 8 28 52 36 3
  box top 25 1 35 13 2
  disc body- 30 54 11
  disc silver 30 54 6
  line body- 3 20 74 40 74
  line body- 3 20 82 40 82

stop sign 100x100 fixed
  poly white 29 0 71 0 100 29 100 71 71 100 29 100 0 71 0 29
  poly red 31 4 69 4 96 31 96 69 69 96 31 96 4 69 4 31
  line white 5 27 40 22 36 14 37 13 44 25 53 25 60 18 64 12 60
  line white 5 33 37 49 37
  line white 5 41 37 41 63
  ring white 5 60.5 50 8.5 15.5
  line white 5 76 63 76 37 85 37 89 44 85 51 76 51

parking meter 40x100
  body = slate steel charcoal navy
  box steel 16 44 24 100 2
  box slate 9 95 31 100 2
  chord body 20 22 20 22 180 360
  poly body 0 22 40 22 36 46 30 52 10 52 4 46
  chord cream 20 22 14 15 180 360
  line red 2 20 21 27 12
  box silver 10 28 30 35 2
  disc amber 20 43 4.5

bench 100x58
  wood = wood brown ochre green
  line charcoal 4 12 2 12 36 6 58
  line charcoal 4 88 2 88 36 94 58
  line charcoal 4 24 38 28 56
  line charcoal 4 76 38 72 56
  box wood 0 2 100 10 2
  box wood 0 13 100 21 2
  box wood- 2 30 98 36 2
  box wood 0 36 100 42 2
  line charcoal 3 6 26 18 26
  line charcoal 3 82 26 94 26
"""
