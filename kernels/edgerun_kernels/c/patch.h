/* What one tile of a float32 convolution sees. */
#include "window.h"

/* The taps of the window that are in the image, and where the first of all taps lies in x. */
typedef struct {
  er_taps h, w;
  int32_t origin;
} er_patch;
