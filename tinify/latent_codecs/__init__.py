"""Latent codecs: each tells its flow once, against a stream."""

from tinify.latent_codecs.base import LatentCodec
from tinify.latent_codecs.bottleneck import EntropyBottleneckLatentCodec
from tinify.latent_codecs.channel_conditional import ChannelConditionalLatentCodec
from tinify.latent_codecs.channel_groups import ChannelGroupsLatentCodec
from tinify.latent_codecs.checkerboard import CheckerboardLatentCodec
from tinify.latent_codecs.gain import GainLatentCodec
from tinify.latent_codecs.gaussian import GaussianConditionalLatentCodec
from tinify.latent_codecs.hyper import HyperLatentCodec
from tinify.latent_codecs.hyperprior import HyperpriorLatentCodec
from tinify.latent_codecs.quadtree import QuadtreeLatentCodec
from tinify.latent_codecs.raster_scan import RasterScanLatentCodec
from tinify.latent_codecs.stream import Decode, Encode, Estimate, Stream
from tinify.names import names_of

__all__ = [
    "ChannelConditionalLatentCodec",
    "ChannelGroupsLatentCodec",
    "CheckerboardLatentCodec",
    "Decode",
    "Encode",
    "EntropyBottleneckLatentCodec",
    "Estimate",
    "GainLatentCodec",
    "GaussianConditionalLatentCodec",
    "HyperLatentCodec",
    "HyperpriorLatentCodec",
    "LatentCodec",
    "QuadtreeLatentCodec",
    "RasterScanLatentCodec",
    "Stream",
]

__getattr__ = names_of(__name__)
