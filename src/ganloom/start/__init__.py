"""``ganloom start``: parameters for a folder of images, from a look at them and a clock.

``look`` looks at the images, ``plan`` chooses recipes and writes the parameters, ``length`` times
training steps and fits the length of the training into the wanted time.
"""
