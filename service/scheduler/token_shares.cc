#include "service/scheduler/token_shares.h"
