"""COCO's own panoptic categories, for checkpoints that say no more than how many classes they have."""

from __future__ import annotations

from functools import cache

from panoptic_blend.categories import Categories, Category


@cache
def coco_categories() -> Categories:
    """COCO's 80 things and 53 stuff categories, in the order of its panoptic files (2017)."""
    return Categories(
        [
            Category(id_, name, is_thing, (int(color[:2], 16), int(color[2:4], 16), int(color[4:], 16)), supercategory)
            for is_thing, table in ((True, _THINGS), (False, _STUFF))
            for id_, name, color, supercategory in _rows(table)
        ],
        "COCO's categories",
    )


def _rows(table: str) -> list[tuple[int, str, str, str]]:
    rows = [line.split(" | ") for line in table.strip().splitlines()]
    return [(int(id_), name, color, supercategory) for id_, color, name, supercategory in rows]


# Per line: dataset id, colour as hexadecimal RGB, name, supercategory.
_THINGS = """
1 | dc143c | person | person
2 | 770b20 | bicycle | vehicle
3 | 00008e | car | vehicle
4 | 0000e6 | motorcycle | vehicle
5 | 6a00e4 | airplane | vehicle
6 | 003c64 | bus | vehicle
7 | 005064 | train | vehicle
8 | 000046 | truck | vehicle
9 | 0000c0 | boat | vehicle
10 | faaa1e | traffic light | outdoor
11 | 64aa1e | fire hydrant | outdoor
13 | dcdc00 | stop sign | outdoor
14 | af74af | parking meter | outdoor
15 | fa001e | bench | outdoor
16 | a52a2a | bird | animal
17 | ff4dff | cat | animal
18 | 00e2fc | dog | animal
19 | b6b6ff | horse | animal
20 | 005200 | sheep | animal
21 | 78a69d | cow | animal
22 | 6e4c00 | elephant | animal
23 | ae39ff | bear | animal
24 | c76400 | zebra | animal
25 | 480076 | giraffe | animal
27 | ffb3f0 | backpack | accessory
28 | 007d5c | umbrella | accessory
31 | d10097 | handbag | accessory
32 | bcd0b6 | tie | accessory
33 | 00dcb0 | suitcase | accessory
34 | ff63a4 | frisbee | sports
35 | 5c0049 | skis | sports
36 | 8581ff | snowboard | sports
37 | 4eb4ff | sports ball | sports
38 | 00e400 | kite | sports
39 | aefff3 | baseball bat | sports
40 | 2d59ff | baseball glove | sports
41 | 868667 | skateboard | sports
42 | 9194ae | surfboard | sports
43 | ffd0ba | tennis racket | sports
44 | c5e2ff | bottle | kitchen
46 | ab8601 | wine glass | kitchen
47 | 6d3f36 | cup | kitchen
48 | cf8aff | fork | kitchen
49 | 97005f | knife | kitchen
50 | 09503d | spoon | kitchen
51 | 546933 | bowl | kitchen
52 | 4a4169 | banana | food
53 | a6c466 | apple | food
54 | d0c3d2 | sandwich | food
55 | ff6d41 | orange | food
56 | 008f95 | broccoli | food
57 | b300c2 | carrot | food
58 | d1636a | hot dog | food
59 | 057900 | pizza | food
60 | e3ffcd | donut | food
61 | 93bad0 | cake | food
62 | 994501 | chair | furniture
63 | 035fa1 | couch | furniture
64 | a3ff00 | potted plant | furniture
65 | 7700aa | bed | furniture
67 | 00b6c7 | dining table | furniture
70 | 00a578 | toilet | furniture
72 | b78258 | tv | electronic
73 | 5f2000 | laptop | electronic
74 | 827287 | mouse | electronic
75 | 6e8185 | remote | electronic
76 | a64a76 | keyboard | electronic
77 | db8eb9 | cell phone | electronic
78 | 4fd272 | microwave | appliance
79 | b25a3e | oven | appliance
80 | 41460f | toaster | appliance
81 | 7fa773 | sink | appliance
82 | 3b696a | refrigerator | appliance
84 | 8e6c2d | book | indoor
85 | c4ac00 | clock | indoor
86 | 5f3650 | vase | indoor
87 | 804cff | scissors | indoor
88 | c93901 | teddy bear | indoor
89 | f6007a | hair drier | indoor
90 | bfa2d0 | toothbrush | indoor
"""
_STUFF = """
92 | ffff80 | banner | textile
93 | 93d3cb | blanket | textile
95 | 966464 | bridge | building
100 | a8abac | cardboard | raw-material
107 | 9270c6 | counter | furniture-stuff
109 | d2aa64 | curtain | textile
112 | 5c8859 | door-stuff | furniture-stuff
118 | da58b8 | floor-wood | floor
119 | f18100 | flower | plant
122 | d911ff | fruit | food-stuff
125 | 7c4ab5 | gravel | ground
128 | 464646 | house | building
130 | ffe4ff | light | furniture-stuff
133 | 9ad000 | mirror-stuff | furniture-stuff
138 | c1005c | net | structural
141 | 4c5b71 | pillow | textile
144 | ffb4c3 | platform | ground
145 | 6a9ab0 | playingfield | ground
147 | e6968c | railroad | ground
148 | 3c8fff | river | water
149 | 804080 | road | ground
151 | 5c5237 | roof | building
154 | fed47c | sand | ground
155 | 494dae | sea | water
156 | ffa062 | shelf | furniture-stuff
159 | ffffff | snow | ground
161 | 68546d | stairs | furniture-stuff
166 | a9a483 | tent | building
168 | e1c7ff | towel | textile
171 | 89364a | wall-brick | wall
175 | 879edf | wall-stone | wall
176 | 07f6e7 | wall-tile | wall
177 | 6bffc8 | wall-wood | wall
178 | 3a2995 | water-other | water
180 | b7798e | window-blind | window
181 | ff4961 | window-other | window
184 | 6b8e23 | tree-merged | plant
185 | be9999 | fence-merged | structural
186 | 928b8d | ceiling-merged | ceiling
187 | 4682b4 | sky-other-merged | sky
188 | 86c79c | cabinet-merged | furniture-stuff
189 | d1e28c | table-merged | furniture-stuff
190 | 60246c | floor-other-merged | floor
191 | 606060 | pavement-merged | ground
192 | 40aa40 | mountain-merged | solid
193 | 98fb98 | grass-merged | plant
194 | d0e5e4 | dirt-merged | ground
195 | cebaab | paper-merged | raw-material
196 | 98a140 | food-other-merged | food-stuff
197 | 747000 | building-other-merged | building
198 | 00728f | rock-merged | solid
199 | 66669c | wall-other-merged | wall
200 | fa8dff | rug-merged | textile
"""
